"""The proof that the mock server behaves as the real vLLM does.

    cases/*.yaml     what is asked of a server, step by step          cases.py reads them
    exchange.py      one HTTP request and everything that comes back, also when it hangs
    steps.py         does a case's steps and writes down what it sees
    normalise.py, streams.py, metrics.py      hide what may differ between two runs, keep the rest
    recorder.py      a server and the cases -> recordings, kept in recordings/vllm-<version>/*.json
    compare.py       two recordings -> the places where they differ
    known_differences.yaml    where the mock may differ, and why

Everyday: `nox` compares the mock with the recordings (tests/integration/parity). `nox -s parity` starts the real
server on CPU (tiny_model.py, real_server.py), compares mock, real server and recordings, and writes the table of
docs/parity.md (report.py).
"""
