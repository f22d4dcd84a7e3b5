"""Names of videos that labels and disks spell differently."""

import unicodedata

NFC, NFD = (unicodedata.normalize(form, "müller_élan.mp4") for form in ("NFC", "NFD"))

# what the labels say, what is on the disk, whether it is used
NAMES = {
    "narrow no-break space": ("Recording at 3.04.05\u202fPM.mov", "Recording at 3.04.05\u202fPM.mov"),
    "no-break space": ("a\u00a0b.mp4", "a\u00a0b.mp4"),
    "ideographic space": ("a\u3000b.mp4", "a\u3000b.mp4"),
    "zero-width non-joiner": ("a\u200cb.mp4", "a\u200cb.mp4"),
    "joined emoji": ("\U0001f3ca\u200d\u2640\ufe0f.mp4", "\U0001f3ca\u200d\u2640\ufe0f.mp4"),
    "space for a narrow one": ("at 3.04.05 PM.mov", "at 3.04.05\u202fPM.mov"),
    "composed for decomposed": (NFC, NFD),
    "decomposed for composed": (NFD, NFC),
    "case of the extension": ("IMG_0002.mp4", "IMG_0002.MP4"),
    "case of a folder": ("Day2/dive.mp4", "day2/dive.mp4"),
    "backslash": ("day2\\dive.mp4", "day2/dive.mp4"),
    "no extension": ("dive_004", "dive_004.mp4"),
    "extension too many": ("dive_004.mp4", "dive_004"),
    "root's own name": ("clips/dive.mp4", "dive.mp4"),
    "root's own name and backslash": ("Clips\\sub\\dive", "sub/dive.MP4"),
}
