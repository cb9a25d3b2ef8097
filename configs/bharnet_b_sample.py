_base_ = 'bharnet_p_sample.py'

model = dict(cls_head=dict(branches=('vanilla',), attention=None))
