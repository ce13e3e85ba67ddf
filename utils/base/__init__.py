"""The lowest layer: what data sets, networks and everything else may use.

errors    errors that the user can fix
files     atomic writing, hashes of files
arrays    .npz files
text      text from untrusted files, made safe
signals   Ctrl-C and SIGTERM without lost work
threads   prefetching in a background thread
openvino  importing OpenVINO, without its reports to the vendor
"""
