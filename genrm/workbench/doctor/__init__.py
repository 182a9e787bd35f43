"""`genrm doctor`: is everything as a training run needs it? Each finding with what to do about it.

::

    launch      a verl configuration or launch script -> what it sets
    wiring      is the reward function really called, by the verl that is meant?
    variables   are the GENRM_* settings right?
    servers     what answers at each base URL: its kind, version, model and key
    answers     does it judge: canaries, latency, structured outputs
    memory      can it sleep; asleep -> awake -> canaries
    findings    what a check says
    report      prints findings as they come, and holds each check to its deadline
    judge       joins what is asked of the servers; examination joins all
"""
