"""genrm: a reward function that lets a generative reward model pay the rewards, and can be trusted with it."""

from genrm.errors import (
    BadReply,
    GenRMError,
    JudgeError,
    JudgeGarbage,
    JudgeOverloaded,
    JudgeRefused,
    JudgeTimeout,
    JudgeUnreachable,
    NoVerdictError,
    OffloadError,
    OffloadRefused,
    SampleError,
    SettingsError,
    TemplateError,
)
from genrm.genrm import GenRM
from genrm.judge import Judge, Judgement
from genrm.samples import Sample
from genrm.settings import Settings
from genrm.verdicts import Reason, Verdict, parse_verdict

__version__ = "0.1.0"

__all__ = [
    "BadReply",
    "GenRM",
    "GenRMError",
    "Judge",
    "JudgeError",
    "JudgeGarbage",
    "JudgeOverloaded",
    "JudgeRefused",
    "JudgeTimeout",
    "JudgeUnreachable",
    "Judgement",
    "NoVerdictError",
    "OffloadError",
    "OffloadRefused",
    "Reason",
    "Sample",
    "SampleError",
    "Settings",
    "SettingsError",
    "TemplateError",
    "Verdict",
    "__version__",
    "parse_verdict",
]
