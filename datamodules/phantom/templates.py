"""Average shapes and sizes down the lumbar spine, drawn for the patient's left side.

Millimetres from the middle of the posterior margin of the disc: x toward the patient's left, y posterior. Sizes are
those of `LEVELS`, upper to lower. Sources are given where a number was read; the contours themselves are ours, drawn
after axial T1 and T2 slices.
"""

import numpy as np

LEVELS = ("T12/L1", "L1/2", "L2/3", "L3/4", "L4/5", "L5/S1", "S1/2")
NUM_LEVELS = len(LEVELS)
VERTEBRAE = ("T12", "L1", "L2", "L3", "L4", "L5", "sacrum")  # the one above each disc
# Contours were drawn at the four lower discs; above and below them the nearest one serves, at its own area.
_DRAWN = [0, 0, 0, 1, 2, 3, 3]

# Areas in mm2 per side. Psoas, erector spinae, quadratus lumborum: Ivanac 2026, mean of healthy and back pain.
# Multifidus: between Niemeläinen 2011 and the two public volunteers. Canal and sac: Lim 2017, plus what a disc covers.
# First and last column, and quadratus lumborum at L1/2: ours, continued from their neighbours.
AREA_MM2 = {
    "psoas": (130.0, 385.0, 880.0, 1310.0, 1610.0, 1450.0, 1150.0),
    "multifidus": (210.0, 260.0, 370.0, 600.0, 890.0, 1000.0, 820.0),
    "erector_spinae": (2050.0, 2200.0, 2150.0, 1960.0, 1560.0, 760.0, 280.0),
    "quadratus_lumborum": (150.0, 337.0, 480.0, 640.0, 430.0, 0.0, 0.0),
    "disc": (1080.0, 1170.0, 1250.0, 1350.0, 1420.0, 1310.0, 900.0),
    "canal": (250.0, 245.0, 240.0, 240.0, 265.0, 330.0, 250.0),
    "dural_sac": (196.0, 188.0, 182.0, 176.0, 176.0, 170.0, 95.0),
}

CONTOUR_MM = {
    "multifidus": [
        [(3, 22), (3, 35), (5, 44), (10, 47), (15, 43), (17, 35), (16, 27), (13, 20), (8, 18)],
        [(3, 22), (3, 40), (6, 51), (13, 54), (20, 49), (23, 40), (22, 29), (17, 20), (9, 18)],
        [(3, 23), (3, 44), (6, 55), (15, 59), (25, 54), (30, 44), (29, 31), (23, 20), (11, 19)],
        [(3, 25), (3, 44), (6, 53), (17, 57), (29, 53), (36, 43), (36, 31), (29, 20), (14, 19)],
    ],
    # Multifidus and erector spinae together: what the thoracolumbar fascia encloses.
    "paraspinal": [
        [
            (3, 20),
            (3, 40),
            (6, 51),
            (18, 56),
            (34, 55),
            (51, 49),
            (64, 38),
            (69, 26),
            (62, 17),
            (48, 12),
            (34, 9),
            (18, 13),
        ],
        [
            (3, 21),
            (3, 42),
            (6, 54),
            (18, 59),
            (34, 58),
            (50, 51),
            (61, 40),
            (66, 28),
            (59, 18),
            (46, 13),
            (33, 11),
            (18, 14),
        ],
        [
            (3, 22),
            (3, 44),
            (6, 56),
            (18, 61),
            (34, 58),
            (48, 50),
            (57, 40),
            (61, 29),
            (55, 19),
            (44, 15),
            (32, 13),
            (18, 15),
        ],
        [
            (3, 24),
            (3, 44),
            (6, 54),
            (17, 58),
            (31, 56),
            (44, 49),
            (53, 40),
            (56, 31),
            (50, 23),
            (39, 19),
            (28, 15),
            (17, 17),
        ],
    ],
    "psoas": [
        [(22, -24), (26, -33), (34, -36), (42, -30), (46, -18), (45, -6), (39, 3), (31, 4), (26, -2), (24, -12)],
        [(22, -22), (26, -33), (36, -38), (47, -33), (54, -19), (53, -5), (46, 4), (35, 5), (27, -1), (24, -11)],
        [(22, -20), (27, -33), (38, -40), (51, -36), (59, -21), (58, -5), (49, 4), (37, 4), (28, -1), (24, -10)],
        [(24, -24), (28, -38), (39, -46), (52, -43), (60, -29), (60, -13), (52, -2), (40, 0), (30, -4), (25, -13)],
    ],
    "quadratus_lumborum": [
        [(44, 6), (49, -1), (58, -5), (68, -4), (74, 2), (71, 9), (62, 12), (51, 11)],
        [(44, 7), (49, -2), (59, -8), (70, -8), (77, 0), (73, 9), (63, 13), (52, 12)],
        [(46, 9), (51, 1), (59, -4), (68, -4), (72, 2), (68, 10), (61, 14), (53, 14)],
        [(46, 9), (51, 1), (59, -4), (68, -4), (72, 2), (68, 10), (61, 14), (53, 14)],
    ],
    "disc": [
        [(0, -1.8), (8, -0.4), (15, -1), (20.5, -6), (22.5, -14), (20, -24), (12, -31), (0, -33.5)],
        [(0, -1.2), (8, 0), (16, -1), (22, -6), (24, -14), (21, -25), (12, -32), (0, -34)],
        [(0, -0.3), (8, 0.2), (17, -1.3), (23.5, -6.5), (25.5, -15), (22, -26), (13, -32.5), (0, -34)],
        [(0, 0.8), (8, 0.2), (17, -2.3), (24.5, -8), (26.5, -15.5), (23, -25), (13, -31), (0, -32.5)],
    ],
    "canal": [
        [(0, -3), (7, -2), (10.2, 2), (9.6, 7), (6.5, 12), (2.5, 15.6), (0, 16.5)],
        [(0, -3), (7, -2), (10.6, 2), (9.6, 7), (6, 11.6), (2.2, 15.4), (0, 16.4)],
        [(0, -3), (8, -2), (11.6, 1.6), (9.6, 6.4), (5.6, 11), (2, 15.2), (0, 16.2)],
        [(0, -3), (9, -2), (14, 1.6), (11, 6.4), (6, 11), (2.2, 15), (0, 16)],
    ],
    "dural_sac": [
        [(0, 0.2), (5, 0.4), (8, 3), (8, 7.5), (5.6, 11.5), (2, 13.6), (0, 14)],
        [(0, 0.4), (5, 0.6), (8, 3), (7.8, 7), (5, 10.8), (1.8, 13), (0, 13.4)],
        [(0, 0.6), (5, 0.8), (8.2, 3), (7.6, 6.8), (4.4, 10.4), (1.6, 12.4), (0, 12.8)],
        [(0, 3), (4, 3.4), (6.6, 5.6), (6.6, 8.8), (4.2, 11.8), (1.6, 13), (0, 13.2)],
    ],
}
# Drawn as one half: the contour is closed by its mirror image.
SYMMETRIC = ("disc", "canal", "dural_sac")
# Where a contour touches its neighbour and stays when the structure grows.
ANCHOR_MM = {
    "multifidus": (3.0, 18.0),
    "paraspinal": (3.0, 15.0),
    "psoas": (22.0, -14.0),
    "quadratus_lumborum": (46.0, 8.0),
    "disc": (0.0, 0.0),
    "canal": (0.0, -1.0),
    "dural_sac": (0.0, 1.5),
}

# Centre (x, y) in mm from the front of the disc and radius; at the upper discs both arteries are the aorta and both
# veins the vena cava, which divide above L4/5.
_VESSEL_MM = {
    "left_artery": [(10, -11, 8.5), (9, -10, 8.2), (16, -8, 5.8), (26, -15, 5.2)],
    "right_artery": [(10, -11, 8.5), (9, -10, 8.2), (-2, -10, 5.8), (-25, -15, 5.2)],
    "left_vein": [(-14, -8, 9.0), (-13, -8, 9.2), (-9, -7, 7.0), (17, -7, 6.0)],
    "right_vein": [(-14, -8, 9.0), (-13, -8, 9.2), (-18, -7, 7.5), (-17, -7, 6.2)],
}
VESSEL_MM = {name: np.array(path, dtype=float)[_DRAWN] for name, path in _VESSEL_MM.items()}

DISC_HEIGHT_MM = (7.0, 8.4, 9.6, 10.7, 11.4, 10.6, 3.2)  # Shukri 2013; first and last: ours
VERTEBRA_HEIGHT_MM = (24.6, 25.4, 26.4, 26.8, 26.0, 26.0, 27.0)  # L1-L5: the public volunteers; T12, S1: ours
DISC_TILT_DEG = (-11.0, -9.0, -4.0, 2.0, 12.0, 30.0, 41.0)  # positive: the front is lower; lordosis L1-S1 about 45
FLAVUM_MM = (2.8, 3.0, 3.2, 3.4, 3.7, 3.6, 2.0)  # Khasawneh 2023, L2/3 to L5/S1
SPINOUS_MM = (20.0, 21.0, 21.0, 19.0, 16.0, 9.0, 5.0)  # ours: length behind the laminae at the height of the disc
SUBCUTANEOUS_MM = (9.0, 9.0, 11.0, 14.0, 19.0, 24.0, 24.0)  # ours: midline, at a body-mass index of 26


def contour_mm(name: str) -> np.ndarray:
    """Contours of a structure, shape (levels, points, 2), closed over the midline where it has no sides."""
    half = np.array(CONTOUR_MM[name], dtype=float)[_DRAWN]
    if name not in SYMMETRIC:
        return half
    other = half[:, -2:0:-1] * (-1, 1)  # the first and last points lie on the midline
    return np.concatenate([half, other], axis=1)
