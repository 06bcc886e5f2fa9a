"""The demo data set: synthetic chest X-rays of synthetic patients.

It replaces the Kaggle sets when no data is available. Folders and file names follow theirs. The set
has two classes, like Kermany's, or three, like Raikote's. The images have no medical meaning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xray_hpc.errors import ConfigError
from xray_hpc.shared_folder import create_file, make_folder
from xray_hpc.synthetic import opacities
from xray_hpc.synthetic.anatomy import Chest, draw_body, draw_chest
from xray_hpc.synthetic.film import expose
from xray_hpc.synthetic.shapes import Field, View, draw_view

VERSION = 1  # increase it when the same (images, seed, classes) gives different bytes

TEST_SHARE = 0.2
PNEUMONIA_SHARE = 0.6
HEIGHT = 128
# A patient's random stream is seeded with the kind's position in this list.
KINDS = ("normal", "bacteria", "virus", "covid")
# The class folder of each kind, by number of classes.
CLASSES = {
    2: {"normal": "NORMAL", "bacteria": "PNEUMONIA", "virus": "PNEUMONIA"},
    3: {"normal": "Normal", "virus": "Viral Pneumonia", "covid": "Covid"},
}

Part = Literal["train", "test"]


@dataclass(frozen=True)
class Patient:
    """A patient: ``kind`` is one of ``KINDS``, ``number`` counts from 0 within the kind."""

    kind: str
    number: int

    def rng(self, seed: int, image: int | None = None) -> np.random.Generator:
        """Return the patient's random generator, or that of one of the patient's images."""
        # NumPy pads a short seed with zeros, so 0 stands for the patient and images count from 1.
        stream = 0 if image is None else image + 1
        return np.random.default_rng([seed, KINDS.index(self.kind), self.number, stream])

    def file_name(self, image: int, running: int) -> str:
        """Return the Kaggle set's name of the patient's ``image``, the kind's ``running`` one."""
        if self.kind == "normal":
            prefix = "NORMAL2-IM" if self.number % 3 == 2 else "IM"
            return f"{prefix}-{115 + self.number:04d}-{image + 1:04d}.jpeg"
        return f"person{self.number + 1}_{self.kind}_{running + 1}.jpeg"


def generate(folder: Path, images: int, seed: int, classes: int) -> None:
    """Draw ``images`` JPEG files into ``folder/{train,test}/<CLASS>/``.

    A fifth of the images are test images; no patient is in both parts. With two classes, 60 % of
    the images show pneumonia; with three, 40 % show Covid and 30 % viral pneumonia. For one seed, a
    patient looks the same whatever the number of images and classes.
    """
    if images < 5 * classes:  # a test class would be empty
        raise ConfigError(f"data.demo_images is {images}; it must be {5 * classes} or more")
    for path, patient, image in plan(images, seed, classes):
        target = folder / path
        make_folder(target.parent)
        create_file(target)
        film = Image.fromarray(draw_image(patient, image, seed))
        film.save(target, format="JPEG", quality=88)


def count_images(images: int, classes: int) -> dict[Part, tuple[int, ...]]:
    """Return the number of images of each class, in the order of the class names, by part."""
    names = sorted(set(CLASSES[classes].values()))
    found = {name: Counter[Part]() for name in names}
    for kind, parts in _parts(images, classes).items():
        found[CLASSES[classes][kind]].update(parts)
    return {part: tuple(found[name][part] for name in names) for part in get_args(Part)}


def _parts(images: int, classes: int) -> dict[str, dict[Part, int]]:
    """Return the number of images of each kind by part, in the order of the patient numbers.

    Patients are numbered from train to test for bacteria, and from test to train for virus: as in
    the real set, one number can denote two patients, one in each part.
    """
    test = round(images * TEST_SHARE)
    counts = np.array([images - test, test])
    if classes == 3:
        covid, virus = np.rint(counts * 0.4), np.rint(counts * 0.3)
        kinds = {"normal": counts - covid - virus, "covid": covid}
    else:
        ill = np.rint(counts * PNEUMONIA_SHARE)
        bacteria = np.rint(ill * 0.55)
        virus = ill - bacteria
        kinds = {"normal": counts - ill, "bacteria": bacteria}
    parts: dict[str, dict[Part, int]] = {
        kind: {"train": int(count[0]), "test": int(count[1])} for kind, count in kinds.items()
    }
    return parts | {"virus": {"test": int(virus[1]), "train": int(virus[0])}}


def plan(images: int, seed: int, classes: int) -> Iterator[tuple[Path, Patient, int]]:
    """Yield the relative path, the patient and the patient's image (from 0) of each file."""
    for kind, parts in _parts(images, classes).items():
        # Three classes are small: with few images per patient they can still be split by patient.
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
    """Draw one image: grey values ``uint8 [height, width]``, with a width that varies by image."""
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
    """Draw the opacities of a ``kind``; ``course`` scales the severity at the time of the image."""
    shadow = np.zeros_like(chest.x)
    for side in (0, 1):
        if rng.random() < 0.35:
            shadow += opacities.thickened_hilum(chest, rng, side, rng.uniform(0.08, 0.25))
    if rng.random() < 0.12:
        shadow += opacities.bands(chest, view, rng, int(rng.integers(2)), rng.uniform(0.08, 0.16))
    if kind == "normal":
        return shadow
    # A skewed distribution: many faint cases, a few obvious ones.
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
