"""A number with the noun that it counts, as people write it: "1 customer", "12,000 companies"."""


def counted(number: int, noun: str) -> str:
    """The number and the noun, in the plural where it is not 1. noun: one regular noun, such as company or date."""
    return f"{number:,} {plural(number, noun)}"


def plural(number: int, noun: str) -> str:
    """The noun alone, as it stands after the number."""
    if number == 1:
        return noun
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def agreeing(number: int, verb: str) -> str:
    """A verb's plural as it follows the number: "stand" is "stands" after 1, and "are" is "is"."""
    if number != 1:
        return verb
    return _IRREGULAR.get(verb, f"{verb}s")


def rounded_count(count: int) -> int:
    """A count that tells nothing exact: its first digit, and ten at least where there is any."""
    return max(10, round(count, -max(1, len(str(count)) - 1))) if count else 0


_IRREGULAR = {"are": "is", "have": "has", "were": "was", "do": "does"}
