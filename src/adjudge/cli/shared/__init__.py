"""What several commands share: the screen, progress bars."""
