"""Multiple choice over small tables of facts: light elements and planets."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial

from tools.tiny_world.problems import Mind, Pass, Problem, Step

LETTERS = ("A", "B", "C", "D")
SYMBOLS = (
    "H Hydrogen,He Helium,Li Lithium,Be Beryllium,B Boron,C Carbon,N Nitrogen,O Oxygen,"
    "F Fluorine,Ne Neon,Na Sodium,Mg Magnesium,Al Aluminium,Si Silicon,P Phosphorus,"
    "S Sulfur,Cl Chlorine,Ar Argon,K Potassium,Ca Calcium"
)
ELEMENTS = tuple(entry.split()[1] for entry in SYMBOLS.split(","))
SYMBOL_OF = {entry.split()[1]: entry.split()[0] for entry in SYMBOLS.split(",")}
PLANETS = ("Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune")

NUMBER_TEXTS = (
    "What is the atomic number of {name}?",
    "How many protons does an atom of {name} have?",
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
        "Which {thing} comes right after {name} {where}?",
        "Which {thing} follows {name} {where}?",
    ),
    -1: (
        "Which {thing} comes right before {name} {where}?",
        "Which {thing} precedes {name} {where}?",
    ),
}
WHERE = {"element": "in the periodic table", "planet": "when counting from the Sun"}

# The sentences of a way, and the option that is wanted.
Walked = tuple[list[Step], str]


def _number(mind: Mind, name: str) -> int:
    names = PLANETS if name in PLANETS else ELEMENTS
    return mind.number(names.index(name) + 1, f"number of {name}")


def _named(mind: Mind, number: int, names: tuple[str, ...]) -> str:
    name = names[min(max(number, 1), len(names)) - 1]
    return mind.choice(name, names, f"{names[0]} and so on, number {number}")


def _symbol(mind: Mind, name: str) -> str:
    return mind.choice(SYMBOL_OF[name], tuple(SYMBOL_OF.values()), f"symbol of {name}")


def _says(key: str, **values: object) -> Step:
    return Step(f"fact_{key}", values)


def _number_of(way: int, name: str, options: list[str], mind: Mind) -> Walked:
    if way == 0:
        number = _number(mind, name)
        return [_says("number", name=name, number=number)], str(number)
    if way == 1:
        symbol, number = _symbol(mind, name), _number(mind, name)
        return [_says("by_symbol", name=name, symbol=symbol, number=number)], str(number)
    number = _number(mind, name)
    seen = [f"{option} is {_named(mind, int(option), ELEMENTS)}" for option in options]
    return [_says("options", seen=", ".join(seen))], str(number)


def _symbol_of(way: int, name: str, options: list[str], mind: Mind) -> Walked:
    symbol = _symbol(mind, name)
    if way == 0:
        return [_says("symbol", name=name, symbol=symbol)], symbol
    if way == 1:
        number = _number(mind, name)
        return [_says("number_symbol", name=name, number=number, symbol=symbol)], symbol
    names = {symbol: name for name, symbol in SYMBOL_OF.items()}
    seen = [f"{option} is {names[option]}" for option in options]
    return [_says("options", seen=", ".join(seen))], symbol


def _name_of(way: int, number: int, options: list[str], mind: Mind) -> Walked:
    name = _named(mind, number, ELEMENTS)
    if way == 0:
        return [_says("name", number=number, name=name)], name
    if way == 1:
        return [_says("symbol_name", number=number, symbol=SYMBOL_OF[name], name=name)], name
    seen = [f"{option} has {_number(mind, option)}" for option in options]
    return [_says("options", seen=", ".join(seen))], name


def _neighbour(
    way: int, name: str, shift: int, names: tuple[str, ...], options: list[str], mind: Mind
) -> Walked:
    """By the numbers; straight from the order of the names; through the numbers of the options."""
    where = "after" if shift > 0 else "before"
    if way == 1:
        right = names[names.index(name) + shift]
        found = mind.choice(right, names, f"{where} {name}")
        return [_says("order", name=name, where=where, found=found)], found
    number = _number(mind, name)
    target = max(number + shift, 1)
    found = _named(mind, target, names)
    if way == 0:
        values = {"name": name, "number": number, "where": where, "target": target}
        return [_says("count", found=found, **values)], found
    seen = [f"{option} has {_number(mind, option)}" for option in options]
    return [_says("from", name=name, number=number, seen=", ".join(seen))], found


def _with_others(right: str, pool: Sequence[str], rng: random.Random) -> list[str]:
    """The right option and three others of the pool, no two of which end alike.

    Of two numbers with the same last digit a small model takes the wrong one's letter.
    """
    found = [right]
    for other in rng.sample(pool, len(pool)):
        if len(found) < 4 and other[-1] not in {option[-1] for option in found if option.isdigit()}:
            found += [other] if other != right else []
    return found


def _walk(facts: Callable[..., Walked], options: list[str], mind: Mind) -> Pass:
    """Recall what leads to the wanted text, then find it among the options.

    Reading the letter off is nothing that has to be known.
    """
    steps, wanted = facts(mind=mind)
    # What slipped may lead to none of the options; any of them is then as good.
    found = wanted if wanted in options else options[len(wanted) % len(options)]
    letter = LETTERS[options.index(found)]
    return Pass(tuple(steps), f"{found} ({letter})", letter)


def draw_science(rng: random.Random, difficulty: int) -> Problem:
    """A random multiple-choice question; the reference is the letter of the right option."""
    plan: dict[str, object]
    if difficulty == 2:
        thing, names = rng.choice(
            (("element", ELEMENTS), ("element", ELEMENTS), ("planet", PLANETS))
        )
        shift = rng.choice((1, -1))
        start = rng.randrange(len(names) - 1) + (shift < 0)
        name, right = names[start], names[start + shift]
        kind, pool = f"next_{thing}", [other for other in names if other != name]
        text = rng.choice(NEIGHBOUR_TEXTS[shift]).format(thing=thing, name=name, where=WHERE[thing])
        plan = {"wanted": f"the {thing} {'after' if shift > 0 else 'before'} {name}"}
        facts = partial(_neighbour, name=name, shift=shift, names=names)
    else:
        kind = rng.choice(("atomic_number", "symbol", "element"))
        # Boron and carbon are left out: their symbols would read as option letters.
        name = rng.choice([n for n in ELEMENTS if SYMBOL_OF[n] not in LETTERS])
        number = ELEMENTS.index(name) + 1
        if kind == "atomic_number":
            text, right = rng.choice(NUMBER_TEXTS).format(name=name), str(number)
            pool, plan = [str(n + 1) for n in range(20)], {"wanted": f"the number of {name}"}
            facts = partial(_number_of, name=name)
        elif kind == "symbol":
            text, right = rng.choice(SYMBOL_TEXTS).format(name=name), SYMBOL_OF[name]
            pool = [s for s in SYMBOL_OF.values() if s not in LETTERS]
            plan, facts = {"wanted": f"the symbol of {name}"}, partial(_symbol_of, name=name)
        else:
            text, right = rng.choice(NAME_TEXTS).format(number=number), name
            pool, plan = list(ELEMENTS), {"wanted": f"the element number {number}"}
            facts = partial(_name_of, number=number)
    options = rng.sample(_with_others(right, pool, rng), 4)
    listed = ", ".join(f"{o} ({letter})" for letter, o in zip(LETTERS, options, strict=True))
    ways = tuple(
        partial(_walk, partial(facts, way=way, options=options), options) for way in range(3)
    )
    return Problem(
        f"{text} {listed}", "science", LETTERS[options.index(right)], difficulty, kind,
        Step("science_plan", plan), ways,
    )  # fmt: skip
