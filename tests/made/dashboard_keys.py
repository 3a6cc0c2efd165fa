"""Which metrics the panels of a wandb view show."""

from typing import Any


def shown_keys(workspace: Any) -> set[str]:
    """Keys of every panel and pinned column; x axes included, patterns not."""
    keys = {column.removeprefix("summary:") for column in workspace.runset_settings.pinned_columns}
    keys -= {column for column in keys if column.startswith("run:")}
    for panel in (panel for section in workspace.sections for panel in section.panels):
        found: list[Any] = []
        for name in ("x", "y", "z", "metrics", "media_keys", "table_name"):
            value = getattr(panel, name, None)
            found += value if isinstance(value, list) else [value]
        named = {getattr(key, "name", key) for key in found if key}
        assert named, f"{panel} shows nothing"
        keys |= named
    return keys
