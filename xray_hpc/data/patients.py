"""Who is on the image: the patient, read off the file's name.

Kermany's chest X-rays (and Kaggle's copy of them) number their patients in the file names:

======================================  ====================
``person1_bacteria_2.jpeg``             ``person1_bacteria``
``person447_virus_921_1.jpeg``          ``person447_virus``
``IM-0187-0001-0002.jpeg``              ``IM-0187``
``NORMAL2-IM-1427-0001.jpeg``           ``NORMAL2-IM-1427``
``BACTERIA-1008087-0001.jpeg``          ``BACTERIA-1008087``
======================================  ====================

The demo's patients with Covid are named in the same way, ``person3_covid_5.jpeg``.

A number counts only within its own series: ``person1_virus`` is somebody else than
``person1_bacteria``, and ``IM-0115`` than ``NORMAL2-IM-0115``. Read so, the published train and
test sets share no patient at all; read as one series, the normal ones would share 94 numbers.
"""

from __future__ import annotations

import re

_PERSON = re.compile(r"person(\d+)_(bacteria|covid|virus)_\d", re.IGNORECASE)
_IM = re.compile(r"((?:normal\d*-)?im)-(\d+)-\d", re.IGNORECASE)
_DISEASE = re.compile(r"(normal|bacteria|virus)-(\d+)-\d", re.IGNORECASE)


def patient_of(filename: str, folder: str) -> str:
    """Name the patient of the image ``filename``.

    A name of no known form makes a patient of its own, ``folder/filename``; ``folder`` is where
    the file lies (it may be empty), and keeps equal names in two folders apart.
    """
    if match := _PERSON.match(filename):
        return f"person{match[1]}_{match[2].lower()}"
    if match := _IM.match(filename) or _DISEASE.match(filename):
        return f"{match[1].upper()}-{match[2]}"
    return f"{folder}/{filename}" if folder else filename
