"""The text of cards: pure functions from signatures to Markdown, without access to files or the Hub."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hf_affscore.fileformat import TABLE_FILE
from hf_affscore.hub import is_repo_id
from hf_affscore.publish.frontmatter import metadata_of, set_metadata
from hf_affscore.publish.index import FOLDER, INDEX_FILE, PICTURE_FILE, Entry
from hf_affscore.publish.markdown import (
    bars,
    commit_name,
    escape,
    merge_section,
    number,
    repository_link,
    table,
)
from hf_affscore.signature import Signature

TAGS = ("hf_affscore", "affinity-score", "non-linearity", "vision")
MODEL_PICTURE = "affinity_signature.png"
LISTED = 200  # networks that a card lists; the rest are in the configuration "summary"

_PAPER = "https://arxiv.org/abs/2310.11439"
_MEANING = (
    "The affinity score compares what goes into an activation function with what comes out, on real images: 1 "
    "means that on them the activation acts as an affine map (a symmetric, positive semi-definite one), lower "
    f"means more non-linear ([Bouniot et al., CVPR 2025]({_PAPER}), arXiv 2310.11439)."
)
_CITATION = """```bibtex
@inproceedings{bouniot2025affinity,
  title     = {From Alexnet to Transformers: Measuring the Non-linearity of Deep Neural Networks with
               Affine Optimal Transport},
  author    = {Bouniot, Quentin and Redko, Ievgen and Mallasto, Anton and Laclau, Charlotte and
               Struckmeier, Oliver and Arndt, Karol and Heinonen, Markus and Kyrki, Ville and Kaski, Samuel},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2025}
}
```"""


def dataset_card(text: str, entries: Sequence[Entry], repo_id: str) -> str:
    """The card of a collection.

    Args:
        text: The existing card, or an empty text. Content by others is kept.
        entries: Every signature in the collection.
        repo_id: Name of the repository.

    Raises:
        InputError: The existing card is damaged.
    """
    entries = sorted(entries, key=lambda entry: entry.folder)
    text = merge_section(text or "# Non-linearity signatures\n", _collection(entries, repo_id))
    before = metadata_of(text)
    for key, value in _dataset_metadata(before, entries).items():
        text = set_metadata(text, key, value)
    return text


def _dataset_metadata(before: Mapping[str, Any], entries: Sequence[Entry]) -> dict[str, Any]:
    """The metadata for the Hub's viewer and ``datasets``; other configurations and tags are kept.

    Columns are declared, so that tables from versions with more or fewer statistics still form one table.
    """
    configs = [
        {"config_name": "layers", "default": True, "data_files": f"{FOLDER}/*/{TABLE_FILE}"},
        {"config_name": "summary", "data_files": INDEX_FILE},
    ]
    types: dict[str, str] = {}
    for entry in entries:
        for name, kind in json.loads(entry.columns).items():
            if types.get(name, "string") == "string":  # the type of a column without values
                types[name] = kind
    features = [
        {"name": name, **({"list": "int16"} if kind == "list" else {"dtype": kind})}
        for name, kind in types.items()
    ]
    info = [{"config_name": "layers", "features": features}]
    return {
        "tags": _listed(before, "tags") + [tag for tag in TAGS if tag not in _listed(before, "tags")],
        "configs": configs + _others(_listed(before, "configs")),
        "dataset_info": info + _others(_listed(before, "dataset_info")),
    }


def _listed(metadata: Mapping[str, Any], key: str) -> list[Any]:
    value = metadata.get(key) or []
    return list(value) if isinstance(value, list) else [value]


def _others(configs: list[Any]) -> list[Any]:
    ours = ("layers", "summary")
    return [
        config for config in configs if isinstance(config, dict) and config.get("config_name") not in ours
    ]


def _collection(entries: Sequence[Entry], repo_id: str) -> str:
    shown = entries[:LISTED]
    networks = table(
        ["network", "images", "activations", "median", "min", "max", "signature"],
        [_network_row(entry) for entry in shown],
        right=[2, 3, 4, 5],
    )
    made = table(
        ["network", "commit", "data set commit", "images", "options", "made with"],
        [_made_row(entry) for entry in shown],
        right=[3],
    )
    more = len(entries) - len(shown)
    rest = f"\n\n… and {more} more, in the configuration `summary`." if more else ""
    return "\n\n".join(
        [
            f"{_MEANING} A network's signature is its scores in execution order, one bar each below.",
            f"## Networks\n\n{networks}{rest}",
            f"## How to load\n\n{_how_to_load(entries, repo_id)}",
            f"## How they were made\n\n{made}",
            f"## How to cite\n\n{_CITATION}",
        ]
    )


def _network_row(entry: Entry) -> list[str]:
    picture = f"[{bars(entry.scores) or 'none'}]({entry.folder}/{PICTURE_FILE})"
    details = [f"{escape(entry.weights)} weights"] if entry.weights else []
    details += [escape(_step(entry))] if entry.training_step else []
    network = repository_link(entry.model, entry.model_revision)
    return [
        f"{network} ({', '.join(details)})" if details else network,
        _images(entry),
        _evidence(entry),
        *(number(value) for value in (entry.median, entry.min, entry.max)),
        picture,
    ]


def _evidence(entry: Entry) -> str:
    """The number of activations, and the number of those with evidence, over which the figures are taken."""
    count = _count(entry.activations)
    return count if entry.evidence in (None, entry.activations) else f"{entry.evidence} of {count}"


def _step(entry: Entry) -> str:
    return "" if entry.training_step is None else f"step {entry.training_step}"


def _images(entry: Entry) -> str:
    name = repository_link(entry.dataset, entry.dataset_revision, "datasets/") if entry.dataset else "unnamed"
    details = [escape(part) for part in (entry.dataset_config, entry.dataset_split) if part]
    return f"{name} ({', '.join(details)})" if details else name


def _made_row(entry: Entry) -> list[str]:
    options = json.loads(entry.options)
    versions = json.loads(entry.versions)
    return [
        escape(", ".join(filter(None, [entry.model or "unnamed", entry.weights, _step(entry)]))),
        commit_name(entry.model_revision),
        commit_name(entry.dataset_revision),
        _count(entry.num_samples),
        "; ".join(f"{escape(name)} {escape(_word(value))}" for name, value in sorted(options.items())),
        ", ".join(f"{escape(name)} {escape(value)}" for name, value in sorted(versions.items())),
    ]


def _word(value: Any) -> str:
    return "default" if value is None else str(value)


def _count(value: int | None) -> str:
    return "-" if value is None else str(int(value))


def _how_to_load(entries: Sequence[Entry], repo_id: str) -> str:
    named = next((entry.model for entry in entries if is_repo_id(entry.model)), "user/network")
    return f"""```python
from datasets import load_dataset

layers = load_dataset("{repo_id}", split="train")  # one line per activation, of all networks
networks = load_dataset("{repo_id}", "summary", split="train")  # one line per network
```

```python
import hf_affscore as ha  # pip install hf-affscore

signature = ha.Signature.from_pretrained("{repo_id}", model="{named}")
signatures = ha.load_signatures("{repo_id}")
```"""


def model_card(text: str, signature: Signature) -> str:
    """A model's card with a section about its signature; all other bytes are kept.

    Raises:
        InputError: The card has a damaged section.
    """
    return merge_section(text, _model_section(signature))


def _model_section(signature: Signature) -> str:
    entry = Entry.of(signature)
    summary = signature.summary()
    sentence = (
        f"Over {summary['count']} activations, on {_count(entry.num_samples)} images of {_images(entry)}, the "
        f"median score is {number(entry.median)}, from {number(entry.min)} to {number(entry.max)}."
    )
    options = "; ".join(
        f"{escape(name)} {escape(_word(value))}" for name, value in sorted(json.loads(entry.options).items())
    )
    versions = json.loads(entry.versions)
    version = escape(versions.get("hf_affscore", "-"))
    made = f"Made with hf-affscore {version} from commit {commit_name(entry.model_revision)}"
    made += f"; {options}" if options else ""
    return "\n\n".join(
        [
            "## Non-linearity signature",
            " ".join([*(escape(line, limit=300) for line in signature.verdict), sentence]),
            _by_activation(signature),
            f"![The affinity score of every activation, in execution order]({MODEL_PICTURE})",
            _MEANING,
            f"<details>\n<summary>How it was made</summary>\n\n{made}.\n\n</details>",
        ]
    )


def _by_activation(signature: Signature) -> str:
    """A table with one line for each kind of activation, and its scores as bars."""
    kinds: dict[str, list[float]] = {}
    for row in signature.rows:
        kinds.setdefault(str(row["activation"]), []).append(float(row["affinity_score"]))
    lines = []
    for kind, scores in kinds.items():
        rows = tuple(row for row in signature.rows if str(row["activation"]) == kind)
        summary = Signature(rows=rows, skipped=(), metadata={}).summary()
        figures = [number(float(summary[name])) for name in ("median", "min", "max")]
        lines.append([escape(kind), str(len(scores)), *figures, bars(scores)])
    return table(["activation", "calls", "median", "min", "max", "in execution order"], lines, [1, 2, 3, 4])


def model_index(text: str, signature: Signature, name: str) -> str:
    """The card with the median score in its ``model-index``; other results and other keys are kept.

    Raises:
        InputError: The metadata at the top of the card is not YAML, or its ``model-index`` is damaged.
    """
    entry = Entry.of(signature)
    dataset = {"type": entry.dataset or "unnamed", "name": entry.dataset or "unnamed"}
    known = {"config": entry.dataset_config, "split": entry.dataset_split, "revision": entry.dataset_revision}
    dataset |= {key: value for key, value in known.items() if value is not None}
    task = str(metadata_of(text).get("pipeline_tag") or "image-classification")  # the model's own
    metric = {"type": "affinity_score", "name": "Affinity score (median)", "value": entry.median}
    result = {
        "task": {"type": task, "name": task.replace("-", " ").title()},
        "dataset": dataset,
        "metrics": [metric],
    }
    models = _listed(metadata_of(text), "model-index") or [{"name": name}]
    first = models[0] if isinstance(models[0], dict) else {"name": name}
    others = [found for found in _listed(first, "results") if not _same_result(found, result)]
    return set_metadata(text, "model-index", [{**first, "results": [*others, result]}, *models[1:]])


def _same_result(found: Any, ours: Mapping[str, Any]) -> bool:
    """Whether a result in a card is an earlier result of this package on the same images."""
    if not isinstance(found, dict) or not isinstance(found.get("dataset"), dict):
        return False
    metrics = found.get("metrics")
    types = [m.get("type") for m in metrics if isinstance(m, dict)] if isinstance(metrics, list) else []
    where = [found["dataset"].get(key) == ours["dataset"].get(key) for key in ("type", "config", "split")]
    return types == ["affinity_score"] and all(where)
