# SPDX-License-Identifier: MIT
"""Draws what numpy_demo.py printed with and without the card: numpy_plot.py WITH WITHOUT PNG."""
import json
import sys
from pathlib import Path

import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  pylint: disable=wrong-import-position


def main():
    card, cpu = (json.loads(Path(p).read_text(encoding="ascii").splitlines()[-1])
                 for p in sys.argv[1:3])
    names = list(card["times"])
    left, right = plt.subplots(1, 2, figsize=(12, 5))[1]
    places = range(len(names))
    for shift, run, label in ((-0.2, cpu, "guest CPU"), (0.2, card, "card")):
        bars = left.bar([p + shift for p in places], [run["times"][n] for n in names], 0.4,
                        label=label)
        left.bar_label(bars, [f"{run['times'][n]:.2f} s" for n in names])
    left.set(yscale="log", ylabel="seconds", title="unmodified numpy in the VM")
    left.set_xticks(list(places), [n.replace(" ", "\n") for n in names])
    left.legend()
    x, y = zip(*card["plane"])
    dots = right.scatter(x, y, c=card["labels"], cmap="tab10", s=8)
    right.legend(*dots.legend_elements(), title="digit", fontsize="small",
                 loc="center left", bbox_to_anchor=(1, 0.5))
    right.set(title=f"{card['digits']} digits by their principal components\n"
                    f"nearest neighbours {card['neighbours']:.1%}, ridge {card['ridge']:.1%} right")
    plt.tight_layout()
    plt.savefig(sys.argv[3], dpi=100)
    print(f"{'':24} {'guest CPU':>10} {'card':>10}")
    for name in names:
        a, b = cpu["times"][name], card["times"][name]
        print(f"{name:24} {a:8.2f} s {b:8.3f} s   {a / b:6.1f} times as fast")
    same = abs(card["ridge"] - cpu["ridge"]) < 0.01 and \
        abs(card["neighbours"] - cpu["neighbours"]) < 0.005
    print(f"right with the card: neighbours {card['neighbours']:.4f}, ridge {card['ridge']:.4f}; "
          f"without: {cpu['neighbours']:.4f}, {cpu['ridge']:.4f}: {'the same' if same else 'DIFFERENT'}")
    print(f"plot: {sys.argv[3]}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
