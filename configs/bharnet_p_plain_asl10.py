# P by the operators as the equations read: that a result does not come from the fast form.
_base_ = 'bharnet_p_asl10.py'

custom_hooks = [*_base_.custom_hooks, dict(type='PlainFormHook')]
