"""Mean and spread of the accuracy over the score files of several seeds."""

from bharnet_mm.experiments.seeds import main

if __name__ == '__main__':
    main()
