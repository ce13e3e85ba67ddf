"""Computation: device and precision, several processes, loading and encoding images, cached embeddings.

ranks             the processes of a torchrun job
runtime           device, precision, memory layout
seeds             seeding of PyTorch
data              frame tables and face crops of the data set that the settings name
loading           images from worker processes
integers          quantising a network to 8-bit integers for the faces of a video
backends          PyTorch, torch.compile or OpenVINO, chosen by the size of the job
encoding          crops to embeddings, and comparison of pairs
embedding_cache   embeddings on disk
"""
