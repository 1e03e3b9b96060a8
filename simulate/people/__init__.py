"""Real people (claim D17): files of ratings or rankings as populations, and what every method does to them.

A file's users are the types, their ratings the utilities; users are the units of the bootstrap. Nothing is dropped,
clipped, filled in or guessed unless the caller says so; what was taken for what is in `notes`.

    readers, table, preflib, suspects   files: wide and long tables, pairwise logs, PrefLib; what is refused until named
    logs                                comparisons of users, and what columns are called
    data                                users × items, win rates of rated pairs, how cells become utilities
    comparisons, kinds, audit           logs and counts of comparisons; are users of one kind?; the audit as a command
    population, people                  the people of D17: a file's, or a survey's; every method on them

Examples
--------
>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     path = Path(folder) / "films.csv"
...     _ = path.write_text("user,film,stars\\n1,a,5\\n1,b,3\\n1,c,1\\n2,a,1\\n2,b,4\\n2,c,5\\n")
...     people = read_people(path, long=("user", "film", "stars"))
>>> people.rated.items, people.rated.utilities.tolist()
(('a', 'b', 'c'), [[1.0, 0.5, 0.0], [0.0, 0.75, 1.0]])
"""

from __future__ import annotations

from simulate.people.data import People, RatedItems
from simulate.people.people import people_distortion
from simulate.people.population import survey_people
from simulate.people.readers import read_people

__all__ = ["People", "RatedItems", "people_distortion", "read_people", "survey_people"]
