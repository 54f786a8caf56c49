"""The chart, the image and what comes with them; `nox -s chart` runs these tests."""
