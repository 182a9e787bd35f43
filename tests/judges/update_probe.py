"""Notes what the judge is while verl updates the policy: verl's own policy loss, with a look at the judge at each call.

Loaded by verl in every process (VERL_USE_EXTERNAL_MODULES=judges.update_probe), and chosen by
`actor_rollout_ref.actor.policy_loss.loss_mode=watched`. UPDATE_PROBE says whom to ask and where to write, as JSON.
verl 0.9.1.
"""

from __future__ import annotations

import json
import os
from typing import Any

from verl.trainer.ppo.core_algos import get_policy_loss_fn, register_policy_loss

from judges.asleep import is_asleep

MODULE = "judges.update_probe"
LOSS = "watched"


def watched(*arguments: Any, **options: Any) -> Any:
    """As verl's "vanilla". A JSON line for each call: whether each of the judge's servers is asleep."""
    probe = json.loads(os.environ["UPDATE_PROBE"])
    asleep = [is_asleep(url, probe["backend"]) for url in probe["servers"]]
    with open(probe["file"], "a", encoding="utf-8") as notes:
        notes.write(json.dumps(asleep) + "\n")
    return get_policy_loss_fn("vanilla")(*arguments, **options)


register_policy_loss(LOSS)(watched)
