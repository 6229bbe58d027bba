"""``python -m lightning_contrast``."""

import sys

from lightning_contrast.cli.main import main

sys.argv[0] = "lightning-contrast"  # the name that usage lines show, wherever they are made
sys.exit(main())
