"""Make up the order log of a shop: who bought how many of what, and when; the same files on every run.

    python data/make_orders.py [--out DIR] [--customers N] [--products N] [--seed N]

DIR/orders.csv (order_no;ordered_at;customer;sku;quantity) and DIR/products.csv (sku;name;category;price), separated by
semicolons. Everybody has one to three hobbies and buys mostly for these, in each what one of its two kinds of people
buys, and now and then something else. conf/shop.yaml says what the columns are.
"""

import argparse
import csv
import itertools
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

HOBBIES = {  # category: its letters in an article number, kinds of people, what there is
    "Baking": ("BK", ("Rustic", "Festive"), "proofing basket, dough scraper, rye flour, cake tin, piping bag, vanilla"),
    "Camping": ("CA", ("Alpine", "Family"), "tent, sleeping mat, gas stove, lantern, water bag, folding chair"),
    "Coffee": ("CO", ("Barista", "Office"), "grinder, filter paper, kettle, cup, bean tin, milk jug"),
    "Cycling": ("CY", ("Racing", "Touring"), "tyre, chain, bell, saddle, pump, pannier"),
    "Drawing": ("DR", ("Ink", "Charcoal"), "pad, pen set, eraser, easel, pencil case, portfolio"),
    "Fishing": ("FI", ("River", "Sea"), "rod, reel, landing net, lure box, line, waders"),
    "Gardening": ("GA", ("Balcony", "Orchard"), "watering can, secateurs, seed mix, trowel, gloves, plant pot"),
    "Knitting": ("KN", ("Lace", "Chunky"), "wool, needles, stitch markers, pattern book, yarn bowl, blocking mat"),
    "Music": ("MU", ("Folk", "Studio"), "guitar strings, capo, tuner, cable, stand, notebook"),
    "Running": ("RU", ("Trail", "Road"), "shoes, socks, head torch, gel, bottle, belt"),
}
MAKERS = ("Aldan", "Birch", "Corvo", "Delfin", "Ember", "Fjell", "Grove", "Hanno", "Iris", "Juno")
FIRST_DAY = datetime(2025, 1, 1)


def main(arguments: list[str] | None = None) -> None:
    """Write the two files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "shop", metavar="DIR")
    parser.add_argument("--customers", type=int, default=1500, metavar="N")
    parser.add_argument("--products", type=int, default=600, metavar="N", help="at most 1,200")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    options = parser.parse_args(arguments)
    catalogue = products(options.products)
    log = orders(catalogue, options.customers, Random(options.seed))
    options.out.mkdir(parents=True, exist_ok=True)
    write(options.out / "products.csv", ["sku", "name", "category", "price"], [row[:4] for row in catalogue])
    write(options.out / "orders.csv", ["order_no", "ordered_at", "customer", "sku", "quantity"], log)
    print(
        f"{len(log):,} lines of orders by {options.customers:,} customers, {len(catalogue):,} products: {options.out}"
    )


def products(n: int) -> list[tuple[str, str, str, str, str]]:
    """Return sku, name, category, price and the kind of people that buy it, hobby by hobby in turn.

    More of them begin with the same ones.
    """
    of_hobby = []
    for category, (letters, kinds, things) in HOBBIES.items():
        named = itertools.product(MAKERS, things.split(", "), kinds)
        of_hobby.append([
            (f"{letters}-{number:04}", f"{maker} {kind.lower()} {thing}", category, f"{3 + number % 47}.90", kind)
            for number, (maker, thing, kind) in enumerate(named, 1)
        ])  # fmt: skip
    return list(itertools.chain(*zip(*of_hobby, strict=True)))[:n]


def orders(catalogue: list[tuple], customers: int, random: Random) -> list[tuple[int, str, str, str, int]]:
    """Return order number, time, customer, sku and quantity of every line, by time."""
    # The earlier a product stands in its hobby, the better it sells.
    shelves: dict[tuple[str, str], list[str]] = {}
    for sku, _, category, _, kind in catalogue:
        shelves.setdefault((category, kind), []).append(sku)
    known = {place: [1 / (rank + 3) for rank in range(len(skus))] for place, skus in shelves.items()}
    lines = []
    for customer in range(1, customers + 1):
        hobbies = random.sample(list(HOBBIES), random.choices([1, 2, 3], [5, 4, 1])[0])
        tastes = [(hobby, random.choice(HOBBIES[hobby][1])) for hobby in hobbies]
        for _ in range(1 + int(random.expovariate(1 / 4))):
            when = FIRST_DAY + timedelta(seconds=random.randrange(365 * 86_400))
            for _ in range(1 + int(random.expovariate(1 / 2))):
                place = random.choice(tastes if random.random() < 0.9 else list(shelves))
                if place in shelves:
                    sku = random.choices(shelves[place], known[place])[0]
                    lines.append((when, f"C-{customer:06}", sku, 1 + int(random.expovariate(2))))
    lines.sort()
    numbers = {key: 100_001 + number for number, key in enumerate(dict.fromkeys(line[:2] for line in lines))}
    return [(numbers[line[:2]], line[0].isoformat(), *line[1:]) for line in lines]


def write(path: Path, heads: list[str], rows: list[tuple]) -> None:
    """Write rows as many shops' programs export them."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=";", lineterminator="\n").writerows([heads, *rows])


if __name__ == "__main__":
    main()
