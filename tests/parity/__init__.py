"""The proof that the mock server behaves as the real vLLM and the real SGLang do.

    products/        what must be known about each of them: how it starts, wakes up and is idle
    cases/*/*.yaml   what is asked of a server, step by step          cases.py reads them
    exchange.py      one HTTP request and everything that comes back, also when it hangs
    steps.py         does a case's steps and writes down what it sees
    normalise.py, streams.py, metrics.py      hide what may differ between two runs, keep the rest
    recorder.py      a server and the cases -> recordings, kept in recordings/<product>-<version>/*.json
    compare.py       two recordings -> the places where they differ
    known_differences.yaml    where the mock may differ, and why

Everyday: `nox` compares the mock with the recordings (tests/integration/parity). `nox -s parity` and
`nox -s parity_sglang` start the real server on CPU (servers.py, tiny_model.py; for SGLang with the stubs in
sglang_cpu/), compare mock, real server and recordings, and write the tables of docs/parity.md (report.py).
"""
