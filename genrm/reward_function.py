"""The door that verl knocks on.

::

    reward.custom_reward_function.path=pkg://genrm.reward_function
    reward.custom_reward_function.name=compute_score

`compute_score` is for the managers that score sample by sample (naive, dapo, gdpo, rate_limited),
`compute_score_sync` for the one that takes no async function (remote), `compute_score_batch` for the older batch
manager and for anybody's own loop: see `genrm.GenRM`, whose methods they are. Settings: see genrm.settings.
"""

# Absolute imports only: given by path, verl runs this file as a module without a package.
from __future__ import annotations

from genrm.genrm import GenRM

__all__ = ["compute_score", "compute_score_batch", "compute_score_sync"]

_genrm = GenRM()

compute_score = _genrm.compute_score
compute_score_batch = _genrm.compute_score_batch
compute_score_sync = _genrm.compute_score_sync
