"""Result rows: how they are stored, compared and merged, and which code they depend on."""
