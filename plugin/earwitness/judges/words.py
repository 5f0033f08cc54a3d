"""What several readers share: words as regular expressions, and stand-ins for what a menu offers."""

FIRST, SECOND = "\ue001", "\ue002"
"""In normalised text the first and second clip, or real and fake: private characters, which are no word characters."""

SIDE = f"[{FIRST}{SECOND}]"
EDGE = rf"[^\w{FIRST}{SECOND}]{{0,40}}"
"""White space and punctuation around a statement, no stand-in."""

NOUNS = (
    r"(?:response|answer|option|choice|audio|clip|sample|speech|recording|candidate|reply|output|version|speaker|"
    r"system|model|assistant|utterance|file|number)"
)
VERBS = (
    r"(?:is|was|are|were|sounds?|seems?|appears?|feels?|looks?|performs?|performed|does|has been|"
    r"comes across as|turns out|remains)"
)
