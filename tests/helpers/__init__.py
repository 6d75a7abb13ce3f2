"""What tests of several rooms share: small studies, made-up records, models of few layers."""
