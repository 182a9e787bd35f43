r"""The control tokens of chat models: what a server reads as the end of a turn even in a user's text.

`genrm.neutralise` breaks them up in what the policy wrote, `genrm.verdicts` sees by them that a reply ran on into
invented turns. One table serves both, as models write them. Expressions end in what their last repeat cannot match,
and begin with what no repeat of theirs can: so they take linear time.

Mathematics looks alike: ``0<|x-3|<\delta``, ``|a|<|b|``, ``G=<s>``. A bar opens a token only where an angle closes it
before the next bar or white space, a name has two characters at least, and ``<s>`` does not follow a sign of equality.
"""

from __future__ import annotations

# What may end a reply's last turn.
END_TOKENS = (
    r"<[|｜][^\s<>|｜¦]{2,60}[|｜]>",  # ChatML, Llama 3, gpt-oss, GLM, Phi; DeepSeek with full-width bars
    r"</s>",  # Llama 2, Mistral
    r"<(?:eos|pad)>",  # Gemma
    r"<end_of_turn>",  # Gemma 2 and 3
    r"<turn\|>",  # Gemma 4
    r"<seed:eos>",  # Seed
    r"\[\|endofturn\|\]",  # EXAONE
    r"\[e~\[",  # MiniMax
    r"<EO[ST]_TOKEN>",  # Command A
    r"\[EO[ST]\]",
)

CONTROL_TOKENS = (
    *END_TOKENS,
    r"<[|｜][^\s<>|｜¦]{2,60}>",  # Gemma 4: <|turn>
    r"<\w{2,60}\|>",  # Gemma 4: <channel|>
    r"(?<!=)(?<!=\s)<s>",
    r"<(?:bos|unk|sop|eop|sep)>",
    r"<(?:start|end)_of_\w{1,60}>",
    r"<(?:BOS|EOP|PAD|SEP|UNK)_TOKEN>",
    r"<(?:unused|extra_id_|reserved_|SPECIAL_)\d{1,6}>",  # Gemma, T5, Baichuan, Nemotron
    r"<longcat_\w{1,60}>",
    r"</?seed:\w{1,60}>",
    r"</?role>",  # Ling: <role>HUMAN</role>
    r"\[\|(?:system|user|assistant|tool)\|\]",  # EXAONE
    r"\]~!?b[\[\]]",  # MiniMax: ]~b]ai, ]~!b[
    r"\[/?INST\]",  # Llama 2, Mistral
    r"<</?SYS>>",
    r"\[/?(?:gMASK|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS)\]",
    r"\[BOS\]",
)
