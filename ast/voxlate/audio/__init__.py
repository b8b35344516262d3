"""Any media file to 16 kHz mono samples on the file's own clock, and their segmentation."""
