"""Training: the loop of both trained networks, and the training and evaluation of the Siamese network.

losses            the terms of the loss
state             the state of a run, saved in checkpoints
loop              epochs, validation, checkpoints, interruption
pair_targets      true labels of pairs
pair_evaluation   predictions and scores on fixed validation and test pairs
pair_training     the training of the Siamese network on pairs
report            scores, tables and figures of the test pairs
model_card        the model card of an exported network
export            exports the network of a run as a folder
"""
