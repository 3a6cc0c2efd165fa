"""Step 2: what any plane through a body shows, painted from the wall of the trunk to the vessels."""

import numpy as np

from datamodules.phantom import abdomen, muscles, posterior_elements
from datamodules.phantom.body import Body
from datamodules.phantom.canvas import Canvas, Section
from datamodules.phantom.noise import Plane


def section(body: Body, plane: Plane) -> Section:
    """The truth of a body on a plane of the straightened spine."""
    x, y, z = plane.coordinates()
    shift = [1.5 * wide.on(plane) + 0.3 * fine.on(plane) for wide, fine in zip(body.warp, body.ripple, strict=True)]
    # Bones bend less than soft tissue, the back is flattened by the table.
    free = np.clip(np.hypot(x, y - 8) / 40, 0.25, 1) * np.clip((90 - y) / 32, 0.1, 1)
    level = np.interp(-z, -body.disc_z_mm, np.arange(4)).astype(np.float32)
    canvas = Canvas(plane=plane, x=x + free * shift[0], y=y + free * shift[1], z=z, level=level)
    depth = abdomen.paint_wall(canvas, body)
    abdomen.paint_organs(canvas, body)
    muscles.paint_anterior(canvas, body)
    muscles.paint_paraspinal(canvas, body)
    posterior_elements.paint_arch(canvas, body)
    posterior_elements.paint_canal(canvas, body)
    posterior_elements.paint_column(canvas, body)
    abdomen.paint_vessels(canvas, body)
    return Section(canvas.labels, np.clip(canvas.fat, 0, 1), tuple(canvas.layers), depth)
