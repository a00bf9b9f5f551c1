"""What a primer makes of a pretrained model: valid, coherent and balanced ideas, on several seeds.

    python benchmarks/primer.py [--base smollm2] [--seeds 0 1 2] [--situations 144]

Each seed draws other situations, and is measured on fresh ones without constrained decoding. The bar: at least 98 %
valid, 98 % coherent, a long share of 0.4 to 0.6, in under 15 minutes on two cores.
"""

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

from osiris.config.settings import load_settings
from osiris.llm.primed import PrimerRecipe
from osiris.training.primer import prime_model
from osiris.ui.console import print_rows


def main() -> None:
    """Prime the base once for each seed, and print a row for each."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--base", default="smollm2")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--situations", type=int, default=PrimerRecipe.situations)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "osiris.toml").write_text(f'[model]\nbase = "{chosen.base}"\n')
        settings = load_settings(folder)
        rows = []
        for seed in chosen.seeds:
            report = asdict(prime_model(settings, PrimerRecipe(seed=seed, situations=chosen.situations)))
            rows.append({"seed": seed} | {name: value for name, value in report.items() if name != "folder"})
            print_rows(rows, f"{chosen.base} after its primer")


if __name__ == "__main__":
    main()
