"""Multiple choice over small tables of facts: light elements and planets."""

from __future__ import annotations

import random
from collections.abc import Callable

from tools.tiny_world.problems import Problem, Slip, Solution, Step

LETTERS = ("A", "B", "C", "D")
SYMBOLS = (
    "H Hydrogen,He Helium,Li Lithium,Be Beryllium,B Boron,C Carbon,N Nitrogen,O Oxygen,"
    "F Fluorine,Ne Neon,Na Sodium,Mg Magnesium,Al Aluminium,Si Silicon,P Phosphorus,"
    "S Sulfur,Cl Chlorine,Ar Argon,K Potassium,Ca Calcium"
)
# name -> (symbol, atomic number)
ELEMENTS = {
    name: (symbol, number)
    for number, (symbol, name) in enumerate((e.split() for e in SYMBOLS.split(",")), start=1)
}
PLANETS = ("Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune")

NUMBER_TEXTS = (
    "What is the atomic number of {name}?",
    "How many protons does an atom of {name} have?",
    "Which number does {name} have in the periodic table?",
)
SYMBOL_TEXTS = (
    "What is the chemical symbol of {name}?",
    "Which symbol stands for {name} in the periodic table?",
)
NAME_TEXTS = (
    "Which element has the atomic number {number}?",
    "An atom has {number} protons. Which element is it?",
)
NEIGHBOUR_TEXTS = {
    1: (
        "Which element comes right after {name} in the periodic table?",
        "Which element has one proton more than {name}?",
    ),
    -1: (
        "Which element comes right before {name} in the periodic table?",
        "Which element has one proton less than {name}?",
    ),
}
PLANET_TEXTS = {
    1: ("Which planet comes right after {name} when counting from the Sun?",),
    -1: ("Which planet comes right before {name} when counting from the Sun?",),
}


def _with_options(text: str, options: list[str]) -> str:
    listed = [f"{letter}) {option}" for letter, option in zip(LETTERS, options, strict=True)]
    return f"{text} {' '.join(listed)}"


def _choice(
    text: str,
    options: list[str],
    right: str,
    facts: Callable[[Slip], tuple[list[Step], str]],
    kind: str,
    level: int,
) -> Problem:
    """Recall facts that lead to the wanted text, then find it among the options."""

    def solve(slip: Slip) -> Solution:
        steps, wanted = facts(slip)
        # A fact that slipped may lead to none of the options; any of them is then as good.
        found = wanted if wanted in options else options[len(wanted) % len(options)]
        letter = slip.choice(LETTERS[options.index(found)], LETTERS)
        labelled = [f"{o} {x}" for x, o in zip(LETTERS, options, strict=True)]
        listed, others = ", ".join(options), [o for o in sorted(labelled) if o.split()[0] != found]
        look = {"wanted": wanted, "options": listed, "labelled": ", ".join(labelled)}
        pick = {"option": found, "letter": letter, "others": ", ".join(others)}
        choose = Step("option_look", look), Step("option_pick", pick), Step("option_rest", pick)
        return Solution((*steps, *choose), "science_answer", letter)

    question = _with_options(text, options)
    return Problem(question, "science", LETTERS[options.index(right)], level, kind, solve)


def _options(rng: random.Random, right: str, pool: list[str]) -> list[str]:
    others = rng.sample([option for option in pool if option != right], 3)
    return rng.sample([right, *others], 4)


def _number_of(rng: random.Random) -> Problem:
    name, (symbol, number) = rng.choice(list(ELEMENTS.items()))

    def facts(slip: Slip) -> tuple[list[Step], str]:
        said = slip.number(number)
        values = {"name": name, "symbol": symbol, "number": said}
        return [Step("fact_symbol", values), Step("fact_number", values)], str(said)

    options = _options(rng, str(number), [str(n) for n in range(1, 21)])
    text = rng.choice(NUMBER_TEXTS).format(name=name)
    return _choice(text, options, str(number), facts, "atomic_number", 1)


def _symbol_of(rng: random.Random) -> Problem:
    # Boron and carbon are left out: their symbols would read as option letters.
    known = {name: entry for name, entry in ELEMENTS.items() if entry[0] not in LETTERS}
    name, (symbol, number) = rng.choice(list(known.items()))
    pool = [symbol for symbol, _ in known.values()]

    def facts(slip: Slip) -> tuple[list[Step], str]:
        said = slip.choice(symbol, pool)
        values = {"name": name, "symbol": said, "number": number}
        return [Step("fact_number", values), Step("fact_symbol", values)], said

    text = rng.choice(SYMBOL_TEXTS).format(name=name)
    return _choice(text, _options(rng, symbol, pool), symbol, facts, "symbol", 1)


def _name_of(rng: random.Random) -> Problem:
    name, (_, number) = rng.choice(list(ELEMENTS.items()))

    def facts(slip: Slip) -> tuple[list[Step], str]:
        said = slip.choice(name, list(ELEMENTS))
        return [Step("fact_name", {"name": said, "number": number})], said

    text = rng.choice(NAME_TEXTS).format(number=number)
    options = _options(rng, name, list(ELEMENTS))
    return _choice(text, options, name, facts, "element", 2)


def _neighbour(rng: random.Random) -> Problem:
    """The element or planet right after or before another one."""
    is_planet = rng.random() < 0.3
    names = list(PLANETS) if is_planet else list(ELEMENTS)
    shift = rng.choice((1, -1))
    start = rng.randrange(len(names) - 1) + (shift < 0)
    name, right = names[start], names[start + shift]
    prefix = "planet" if is_planet else "element"

    def facts(slip: Slip) -> tuple[list[Step], str]:
        number = slip.number(start + 1)
        target = slip.number(max(number + shift, 1))
        found = slip.choice(names[min(max(target, 1), len(names)) - 1], names)
        way = "after" if shift > 0 else "before"
        steps = [
            Step(f"{prefix}_number", {"name": name, "number": number}),
            Step("number_next", {"number": number, "target": target, "way": way}),
            Step(f"{prefix}_name", {"name": found, "number": target}),
        ]
        return steps, found

    texts = (PLANET_TEXTS if is_planet else NEIGHBOUR_TEXTS)[shift]
    text = rng.choice(texts).format(name=name)
    return _choice(text, _options(rng, right, names), right, facts, f"next_{prefix}", 3)


def draw_science(rng: random.Random) -> Problem:
    """A random multiple-choice question; the reference is the letter of the right option."""
    return rng.choice((_number_of, _symbol_of, _name_of, _neighbour, _neighbour))(rng)
