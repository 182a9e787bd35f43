"""A real GRPO run on CPU: verl's own trainer, a tiny policy, a judge, and whether it learned.

`on_cpu` and `rollout` are what verl loads to do without a GPU; `command` and `verl.yaml` say how it is run; `runs` runs
it and reads its rollouts as they come; `curves` says whether it learned, and `audit` whether the judge paid; `plots`
draws it. `judging` has the judges, `agreement` compares two of them. `lab` is where all of this is done, `experiments`
are what is done there. `python -m rl --help`.
"""
