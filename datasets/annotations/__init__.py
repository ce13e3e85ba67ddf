"""A person's labels of one video, read from and written to annotation files.

timeline     the frames of a video and when each is shown; one label
cells        parsing and checking a single value
files        reading text and XML files of bounded size
csv_labels   reader of CSV and TSV
elan, nova   reader and writer of ELAN and NOVA files
traces       predicted labels as one trace per track, which both writers export
duplicates   refuses two labels of one face by the same annotator
labels       `read_labels`, which picks the reader by the file's suffix

These files come from anywhere. A label is never guessed, clipped or moved silently: what cannot be used raises a
DataError that names the file, the row and the remedy.
"""
