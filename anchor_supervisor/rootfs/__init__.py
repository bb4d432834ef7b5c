"""WHAT A CONTAINER SEES AS /: images, copy-on-write strategies, volumes, the mount plan."""
