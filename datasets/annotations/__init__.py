"""Labels and ratings of one video, read from and written to annotation files.

timeline                    the frames of a video and when each is shown; one label
cells                       parsing and checking a single value
files, csv_rows             reading text, XML and CSV files of bounded size
rating_files                one person's continuous rating of a video, and the scales of ratings
csv_labels, elan, nova      readers of labels; `nova` also reads ratings
csv_ratings, carma, darma,  readers of ratings
pagan
estimates_csv, estimates    per-frame estimates of another tool: its CSV, and `read_estimates`
traces                      predicted labels as one trace per track, which is what is exported
elan_export, nova_export,   writers
huggingface
formats                     the table of formats
duplicates                  refuses two labels of one face by the same annotator
labels, ratings             `read_labels` and `read_rating`, which pick the reader of a file

These files come from anywhere. A label is never guessed, clipped or moved silently: what cannot be used raises a
DataError that names the file, the row and the remedy.
"""
