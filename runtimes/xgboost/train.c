/* Trains a small model, so that the runtime can be tried with a real one:
 *
 *     train-xgboost OUT FEATURES ROUNDS
 *
 * The target is the sum of a row's values, which are made by a fixed sequence: the same arguments
 * give the same model. OUT ends with .ubj, .json or .model. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <xgboost/c_api.h>

enum { ROWS = 2000 };

static void check(int result)
{
    if (result == 0)
        return;
    fprintf(stderr, "%s\n", XGBGetLastError());
    exit(1);
}

/* SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), as a number from 0 to 1. */
static float next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return (float)((z ^ (z >> 31)) >> 40) / (float)(1 << 24);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: train-xgboost OUT FEATURES ROUNDS\n");
        return 64;
    }
    size_t features = strtoul(argv[2], NULL, 10);
    int rounds = atoi(argv[3]);
    float *rows = calloc(ROWS * features, sizeof *rows);
    float *sums = calloc(ROWS, sizeof *sums);
    uint64_t state = 1;
    for (size_t i = 0; i < ROWS * features; i++) {
        rows[i] = next(&state);
        sums[i / features] += rows[i];
    }
    DMatrixHandle matrix;
    BoosterHandle booster;
    check(XGDMatrixCreateFromMat(rows, ROWS, features, -1, &matrix));
    check(XGDMatrixSetFloatInfo(matrix, "label", sums, ROWS));
    check(XGBoosterCreate(&matrix, 1, &booster));
    check(XGBoosterSetParam(booster, "nthread", "1"));
    check(XGBoosterSetParam(booster, "max_depth", "4"));
    for (int i = 0; i < rounds; i++)
        check(XGBoosterUpdateOneIter(booster, i, matrix));
    check(XGBoosterSaveModel(booster, argv[1]));
    XGBoosterFree(booster);
    XGDMatrixFree(matrix);
    free(rows);
    free(sums);
    return 0;
}
