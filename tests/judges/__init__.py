"""Real judge servers, started and ended by one mechanism: `launch.launched`, or `python -m judges` by hand.

Imports nothing, as the servers' own Pythons, which may lack what the launchers need, import `judges.hf_server`.
"""
