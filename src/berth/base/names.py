"""The grammar of names, and names made up for containers that were given none. Pure but for the dice."""

import random
import re
from typing import Final

#: Docker's restricted names: first a letter or digit, then also ``_ . -``; two characters at least.
RESTRICTED: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")
#: The same as Docker spells it in its messages.
RESTRICTED_TEXT: Final = "[a-zA-Z0-9][a-zA-Z0-9_.-]"

_QUALITIES: Final = (
    "able", "agile", "amber", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "cosy",
    "crisp", "eager", "early", "fair", "fleet", "fond", "fresh", "gentle", "glad", "golden", "grand",
    "hardy", "hearty", "jolly", "keen", "kind", "level", "light", "lively", "loyal", "lucid", "mellow",
    "merry", "mild", "neat", "nimble", "noble", "patient", "placid", "plain", "polite", "proud", "quick",
    "quiet", "rapid", "ready", "roomy", "safe", "serene", "sharp", "silver", "sleek", "snug", "sober",
    "solid", "sound", "spry", "steady", "still", "stout", "sturdy", "sunny", "sure", "swift", "tidy",
    "trim", "true", "trusty", "upright", "vivid", "warm", "wise", "witty", "young", "zesty",
)  # fmt: skip
_VESSELS: Final = (
    "barge", "barque", "brig", "canoe", "caravel", "catamaran", "clipper", "coaster", "cog", "collier",
    "coracle", "corvette", "currach", "cutter", "dhow", "dinghy", "dory", "dredger", "drifter", "felucca",
    "ferry", "frigate", "galleon", "galley", "gig", "gondola", "hulk", "hooker", "junk", "kayak", "ketch",
    "knarr", "launch", "liner", "lighter", "longboat", "lugger", "nao", "packet", "pinnace", "pirogue",
    "pontoon", "pram", "proa", "punt", "raft", "sampan", "schooner", "scow", "shallop", "skiff", "sloop",
    "smack", "snow", "steamer", "tanker", "tender", "trawler", "trimaran", "trireme", "tug", "wherry",
    "whaler", "xebec", "yacht", "yawl",
)  # fmt: skip


def is_restricted_name(name: str) -> bool:
    """Tell whether `name` may name a container or volume."""
    return bool(RESTRICTED.match(name))


def made_up_name(attempt: int) -> str:
    """Make up a container name; from the second `attempt` on it carries a number."""
    pick = random.choice
    tail = "" if attempt == 0 else str(random.randrange(10 ** min(attempt, 6)))  # noqa: S311
    return f"{pick(_QUALITIES)}_{pick(_VESSELS)}{tail}"
