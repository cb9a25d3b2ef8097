# The shipped model `bharnet_light_asl10`: light, trained on all three signers for use on free
# videos, in which people stand still before and after a sign. How it is made: docs/models.md.
#   python tools/data/holistic.py asl10.npz data/asl10 --image-size 1280x720
_base_ = 'bharnet_light_asl10.py'

raised = dict(type='KeepRaisedHands')  # asl10 shows no hand lower than .9 of the shoulders' width
first = 2  # after the persons and the joints are chosen

train_pipeline = [*_base_.train_pipeline[:first], raised, *_base_.train_pipeline[first:]]
test_pipeline = [*_base_.test_pipeline[:first], raised, *_base_.test_pipeline[first:]]

train_dataloader = dict(dataset=dict(split=None, pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
