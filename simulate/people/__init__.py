"""Real people (claim D17): files of ratings or rankings as populations, and what every method does to them.

A file's users are the types, their ratings the utilities; users are the units of the bootstrap. Nothing is dropped,
clipped or filled in unless the caller says so.

Examples
--------
>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     path = Path(folder) / "films.csv"
...     _ = path.write_text("user,a,b,c\\nu1,5,3,1\\nu2,1,4,5\\n")
...     rated = read_ratings(path)
>>> rated.items, rated.ignored, rated.utilities.tolist()
(('a', 'b', 'c'), ('user',), [[1.0, 0.5, 0.0], [0.0, 0.75, 1.0]])
"""

from __future__ import annotations

from simulate.people.people import people_distortion
from simulate.people.population import People, generated_people
from simulate.people.ratings import RatedItems, read_ratings

__all__ = ["People", "RatedItems", "generated_people", "people_distortion", "read_ratings"]
