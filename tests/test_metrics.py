"""Overlap, boxes and the rows of `cases.csv`."""

from math import hypot, isnan, nan

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from monai.metrics import compute_iou, get_confusion_matrix
from monai.metrics import compute_meandice as _  # noqa: F401
