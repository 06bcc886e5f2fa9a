"""The demo data set: chest radiographs that the project draws itself, patients and all.

It stands in for the Kaggle sets where there is no data: the same folders, the same kind of file
names, several images of one patient, and a task that is neither trivial nor hopeless. There is
one of two classes, like Kermany's, and one of three, like Raikote's. The images are drawn (see
:mod:`xray_hpc.data.drawing`); they are no one's, and say nothing about medicine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xray_hpc.data.index_entry import SPLIT_NAMES, ClassCounts, SplitName
from xray_hpc.errors import ConfigError
from xray_hpc.synthetic import opacities
from xray_hpc.synthetic.anatomy import Chest, draw_body, draw_chest
from xray_hpc.synthetic.film import expose
from xray_hpc.synthetic.shapes import Field, View, draw_view

VERSION = 1
"""Goes up when the same (images, seed, classes) draws other bytes."""

TEST_SHARE = 0.2
PNEUMONIA_SHARE = 0.6
HEIGHT = 128
# A patient's random numbers hang on the kind's place in this list.
KINDS = ("normal", "bacteria", "virus", "covid")
CLASSES = {
    2: {"normal": "NORMAL", "bacteria": "PNEUMONIA", "virus": "PNEUMONIA"},
    3: {"normal": "Normal", "virus": "Viral Pneumonia", "covid": "Covid"},
}
"""The folder of each kind, by how many classes there are."""

_FIRST_NORMAL = 115


@dataclass(frozen=True)
class Patient:
    """One person: ``kind`` is one of ``KINDS``, ``number`` counts within the kind from 0."""

    kind: str
    number: int

    def rng(self, seed: int, image: int | None = None) -> np.random.Generator:
        """The patient's own random numbers, or those of one of the images."""
        # NumPy pads a short key with zeros, so that the images count from 1.
        part = 0 if image is None else image + 1
        return np.random.default_rng([seed, KINDS.index(self.kind), self.number, part])

    def file_name(self, image: int, running: int) -> str:
        """Name the patient's ``image`` (from 0) as the Kaggle set does.

        ``running`` counts all images of the kind, as the last number of the set's names does.
        """
        if self.kind == "normal":
            prefix = "NORMAL2-IM" if self.number % 3 == 2 else "IM"
            return f"{prefix}-{_FIRST_NORMAL + self.number:04d}-{image + 1:04d}.jpeg"
        return f"person{self.number + 1}_{self.kind}_{running + 1}.jpeg"


def generate(folder: Path, images: int, seed: int, classes: int) -> None:
    """Draw ``images`` JPEG files into ``folder/{train,test}/<CLASS>/``.

    One in five is for the test, and no patient is in both parts. Of two classes, three images in
    five show pneumonia; of three, two in five Covid and three in ten viral pneumonia. The same
    arguments give the same bytes; a patient of one seed looks the same whatever the number of
    images and classes. Drawing takes about 10 ms an image.

    Raises:
        UserError: fewer than 5 images a class (a class of the test would be empty).
    """
    if images < 5 * classes:
        raise ConfigError(f"data.demo_images is {images}; it must be {5 * classes} or more")
    for path, patient, image in plan(images, seed, classes):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        film = Image.fromarray(draw_image(patient, image, seed))
        film.save(target, format="JPEG", quality=88)


def counts(images: int, classes: int) -> ClassCounts:
    """How many images of each class there are, the classes in the order of their names."""
    names = sorted(set(CLASSES[classes].values()))
    found = {name: Counter[SplitName]() for name in names}
    for kind, parts in _parts(images, classes).items():
        found[CLASSES[classes][kind]].update(parts)
    return {origin: tuple(found[name][origin] for name in names) for origin in SPLIT_NAMES}


def _parts(images: int, classes: int) -> dict[str, dict[SplitName, int]]:
    """How many images of each kind are in train and test, in the order of their numbers.

    Person numbers go on from train to test for bacteria, and from test to train for virus: as in
    the real set, one number may stand for two people, one in each part.
    """
    test = round(images * TEST_SHARE)
    counts: dict[SplitName, int] = {"train": images - test, "test": test}

    def share(of: dict[SplitName, int], part: float) -> dict[SplitName, int]:
        return {origin: round(count * part) for origin, count in of.items()}

    def rest(of: dict[SplitName, int], *taken: dict[SplitName, int]) -> dict[SplitName, int]:
        return {origin: of[origin] - sum(one[origin] for one in taken) for origin in of}

    if classes == 3:
        covid, virus = share(counts, 0.4), share(counts, 0.3)
        kinds = {"normal": rest(counts, covid, virus), "covid": covid}
    else:
        ill = share(counts, PNEUMONIA_SHARE)
        bacteria = share(ill, 0.55)
        virus = rest(ill, bacteria)
        kinds = {"normal": rest(counts, ill), "bacteria": bacteria}
    return kinds | {"virus": dict(reversed(virus.items()))}


def plan(images: int, seed: int, classes: int) -> Iterator[tuple[Path, Patient, int]]:
    """Say which files there are: path below the folder, patient, the patient's image from 0."""
    for kind, parts in _parts(images, classes).items():
        # Of three classes each is small: with fewer images a patient they can still be split.
        most = 2 if kind == "normal" or classes == 3 else 4
        number = running = 0
        for part, count in parts.items():
            left = count
            while left > 0:
                patient = Patient(kind, number)
                taken = min(left, int(patient.rng(seed).integers(1, most + 1)))
                for image in range(taken):
                    name = patient.file_name(image, running)
                    yield Path(part, CLASSES[classes][kind], name), patient, image
                    running += 1
                number, left = number + 1, left - taken


def draw_image(patient: Patient, image: int, seed: int) -> NDArray[np.uint8]:
    """Draw one image: (height, width) grey values; the width differs from image to image."""
    rng = patient.rng(seed)
    rng.integers(1, 5)
    body = draw_body(rng)
    illness = int(rng.integers(2**32))
    own = patient.rng(seed, image)
    view = draw_view(own, (HEIGHT, int(own.integers(116, 157))))
    chest = draw_chest(body, view)
    course = own.uniform(0.8, 1.2)
    shadow = _shadow(patient.kind, chest, view, np.random.default_rng(illness), course)
    return expose(chest.attenuation + shadow, view)


def _shadow(kind: str, chest: Chest, view: View, rng: np.random.Generator, course: float) -> Field:
    """What the lungs hold. ``course`` is how far the illness has gone when the image is taken."""
    shadow = np.zeros_like(chest.x)
    for side in (0, 1):
        if rng.random() < 0.35:
            shadow += opacities.thickened_hilum(chest, rng, side, rng.uniform(0.08, 0.25))
    if rng.random() < 0.12:
        shadow += opacities.bands(chest, view, rng, int(rng.integers(2)), rng.uniform(0.08, 0.16))
    if kind == "normal":
        return shadow
    # A skewed draw: many faint cases, some that nobody misses.
    strength = (0.18 + 0.62 * rng.beta(1.3, 1.7)) * course
    side = int(rng.integers(2))
    if kind == "bacteria" and rng.random() < 0.65:
        zone = str(rng.choice(list(opacities.ZONES), p=[0.25, 0.3, 0.45]))
        shadow += opacities.consolidation(chest, rng, side, zone, strength)
        if rng.random() < 0.2:
            shadow += opacities.effusion(chest, rng, side, 0.8 * strength)
    elif kind == "bacteria":
        shadow += opacities.patches(chest, rng, side, strength)
        if rng.random() < 0.4:
            shadow += opacities.patches(chest, rng, 1 - side, 0.8 * strength)
    elif kind == "covid":
        for lung in (0, 1):
            share = rng.uniform(0.5, 1.0)
            shadow += opacities.ground_glass(chest, rng, lung, share * strength)
    else:
        for lung in (0, 1):
            share = rng.uniform(0.6, 1.0)
            shadow += opacities.interstitial(chest, view, rng, lung, share * strength)
    return shadow
