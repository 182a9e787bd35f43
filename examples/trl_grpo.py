"""GRPO by TRL, with a judge's verdicts for rewards.

    genrm-mock &      # or a real judge
    python examples/trl_grpo.py --model Qwen/Qwen3-0.6B --data problems.jsonl --judge http://localhost:30000

A line of the data is {"problem": ..., "answer": ...}; the answer is only needed with GENRM_INCLUDE_REFERENCE.
Needs `pip install trl==1.16.0` beside this project.
"""

from __future__ import annotations

import argparse

import torch
from datasets import load_dataset
from trl import GRPOConfig, GRPOTrainer

import genrm.trl


def main() -> None:
    """Train, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the policy: a folder, or a name on the Hugging Face Hub")
    parser.add_argument("--data", required=True, metavar="FILE.jsonl")
    parser.add_argument("--judge", required=True, metavar="URL")
    parser.add_argument("--out", default="trl_grpo", metavar="FOLDER")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--group", type=int, default=8, help="solutions of a problem")
    parser.add_argument("--tokens", type=int, default=1024, help="the longest solution")
    given = parser.parse_args()

    data = load_dataset("json", data_files=given.data, split="train")
    data = data.map(lambda row: {"prompt": [{"role": "user", "content": row["problem"]}]})
    on_gpu = torch.cuda.is_available()
    trainer = GRPOTrainer(
        model=given.model,
        train_dataset=data,
        # The problem is the column "problem", the reference the column "answer".
        reward_funcs=genrm.trl.reward_function(BASE_URL=given.judge),
        args=GRPOConfig(
            output_dir=given.out,
            max_steps=given.steps,
            per_device_train_batch_size=given.group,
            num_generations=given.group,
            max_completion_length=given.tokens,
            logging_steps=1,
            report_to=[],
            use_cpu=not on_gpu,
            bf16=on_gpu,
        ),
    )
    trainer.train()
    trainer.save_model()
    rewards = [entry["rewards/genrm/mean"] for entry in trainer.state.log_history if "rewards/genrm/mean" in entry]
    print(f"mean reward: {rewards[0]} in the first step, {rewards[-1]} in the last")


if __name__ == "__main__":
    main()
