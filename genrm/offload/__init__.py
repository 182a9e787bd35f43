"""The judge's GPU memory: awake while anybody needs it, asleep while training does.

::

    ledger      who needs the judge awake, and who wakes it or puts it to sleep: the rules, free of I/O
    stores      where the ledger of a judge is kept: a file for a host, a named Ray actor for a cluster
    lease       what a process does by it: `async with offload.awake()`
    servers     how a server sleeps and wakes; vllm and sglang know each kind's rules
    memory      whether sleeping gave memory back
    canary      whether an awake judge still knows what it knew
"""
