"""Orthanc's REST API, held side by side with an Orthanc."""

import pytest

# Before it is imported: its assertions are to tell what they compared.
pytest.register_assert_rewrite("tests.orthanc.side_by_side")
