"""Cross-validates a config over the values of a field, such as the subject."""

from bharnet_mm.experiments.cross_validation import main

if __name__ == '__main__':
    main()
