"""The files of an unfinished run, as bytes: a batch as arrays, a layer or a group as JSON with a checksum."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hf_affscore.capture.sites import CallSite, SkippedCall
from hf_affscore.capture.summary import Summary


class Place(NamedTuple):
    """Where an image comes from.

    Attributes:
        position: Its position in the draw, from 0.
        row: Its number in the split or sequence; None in a stream of archives that are read in random order.
        file: Its file; None if it has none.
    """

    position: int
    row: int | None
    file: str | None


@dataclass(frozen=True)
class Batch:
    """The result of one batch of images.

    Attributes:
        calls: Site, input and output of every activation call.
        skipped: Calls that were not scored.
        num_images: Images that were decoded.
        undecodable: Position and reason for each image that was not.
        images: The identity of each image, decoded or not, in order.
        fingerprints: Of the pixels of each decoded image, in order.
        places: Where each decoded image comes from.
        deterministic: Whether repeated runs on one batch gave equal outputs.
        batch_dependent: Whether an image's output depended on the rest of its batch.
    """

    calls: list[tuple[CallSite, Summary, Summary]]
    skipped: list[SkippedCall]
    num_images: int
    undecodable: list[tuple[int, str]]
    images: list[str] = dataclasses.field(default_factory=list)
    fingerprints: list[str] = dataclasses.field(default_factory=list)
    places: list[Place] = dataclasses.field(default_factory=list)
    deterministic: bool = True
    batch_dependent: bool = False

    def without_rows(self) -> Batch:
        """The part of a batch that the other processes need."""
        return dataclasses.replace(self, calls=[], skipped=[])


def digest(parts: Sequence[str]) -> str:
    """The common identity of a group of images: a hash of their identities or fingerprints, in order."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def sealed(content: dict[str, Any], place: list[int]) -> bytes:
    """A JSON document with a checksum of its content and its place."""
    return json.dumps({"sha256": _checksum(content, place), "content": content}).encode()


def unsealed(document: bytes, place: list[int]) -> dict[str, Any]:
    """The content that :func:`sealed` was given.

    Raises:
        ValueError: The checksum does not match. A damaged document may raise other errors too.
    """
    found = json.loads(document)
    content: dict[str, Any] = found["content"]
    if found["sha256"] != _checksum(content, place):
        raise ValueError("its checksum does not match")
    return content


def _checksum(content: dict[str, Any], place: list[int]) -> str:
    return hashlib.sha256(json.dumps([content, place]).encode()).hexdigest()


def packed(batch: Batch, start: int) -> bytes:
    """A batch as the bytes of an ``.npz`` file, which has checksums: arrays by number, the rest as JSON."""
    about = {
        "start": start,
        "calls": [dataclasses.asdict(site) for site, _, _ in batch.calls],
        "skipped": [{"site": dataclasses.asdict(s.site), "reason": s.reason} for s in batch.skipped],
        "num_images": batch.num_images,
        "undecodable": batch.undecodable,
        "images": batch.images,
        "fingerprints": batch.fingerprints,
        "places": batch.places,
        "deterministic": batch.deterministic,
        "batch_dependent": batch.batch_dependent,
    }
    arrays: dict[str, Any] = {"about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)}
    for number, (_, *pair) in enumerate(batch.calls):
        for side, summary in zip(("pre", "post"), pair, strict=True):
            arrays[f"{side}_{number}"] = summary.rows
            arrays[f"{side}_near_zero_{number}"] = summary.near_zero
            if summary.products.size:
                arrays[f"{side}_products_{number}"] = summary.products
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _unnamed(about: dict[str, Any]) -> list[tuple[int, None, None]]:
    """The places of a batch that was stored before places were."""
    lost = {position for position, _ in about["undecodable"]}
    positions = range(about["start"], about["start"] + len(about["images"]))
    return [(position, None, None) for position in positions if position not in lost]


def unpacked(content: bytes, start: int) -> Batch:
    """The batch that :func:`packed` was given.

    Raises:
        ValueError: It is the batch of another image. A damaged file may raise any error.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        about = json.loads(stored["about"].tobytes())
        if about["start"] != start:
            raise ValueError(f"it has the batch that starts at image {about['start']}, not {start}")

        def summary(side: str, number: int) -> Summary:
            rows, near_zero = stored[f"{side}_{number}"], stored[f"{side}_near_zero_{number}"]
            products = f"{side}_products_{number}"
            return Summary(rows, near_zero, *([stored[products]] if products in stored.files else []))

        return Batch(
            calls=[
                (CallSite(**site), summary("pre", i), summary("post", i))
                for i, site in enumerate(about["calls"])
            ],
            skipped=[
                SkippedCall(CallSite(**skipped["site"]), skipped["reason"]) for skipped in about["skipped"]
            ],
            num_images=about["num_images"],
            undecodable=[(position, reason) for position, reason in about["undecodable"]],
            images=about["images"],
            fingerprints=about["fingerprints"],
            places=[Place(*place) for place in about.get("places", _unnamed(about))],
            deterministic=about["deterministic"],
            batch_dependent=about["batch_dependent"],
        )
