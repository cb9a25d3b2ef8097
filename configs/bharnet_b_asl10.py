_base_ = 'bharnet_p_asl10.py'

model = dict(cls_head=dict(branches=('vanilla',), attention=None))
