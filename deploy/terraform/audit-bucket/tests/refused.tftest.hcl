# Values that are refused before anything is made.

mock_provider "aws" {}

variables {
  bucket = "acme-audit"
  writer = { role_arns = ["arn:aws:iam::111122223333:role/nodes"] }
}

run "mode" {
  command = plan

  variables {
    lock_mode = "governance"
  }

  expect_failures = [var.lock_mode]
}

run "no_retention" {
  command = plan

  variables {
    retention_days = 0
  }

  expect_failures = [var.retention_days]
}

run "half_a_day" {
  command = plan

  variables {
    retention_days = 1.5
  }

  expect_failures = [var.retention_days]
}

run "retention_beyond_s3" {
  command = plan

  variables {
    retention_days    = 36501
    expire_after_days = 36501
  }

  expect_failures = [var.retention_days]
}

run "expiry_before_the_lock_ends" {
  command = plan

  variables {
    retention_days    = 365
    expire_after_days = 364
  }

  expect_failures = [var.expire_after_days]
}

run "expiry_before_the_archive" {
  command = plan

  variables {
    retention_days     = 30
    archive_after_days = 90
    expire_after_days  = 90
  }

  expect_failures = [var.expire_after_days]
}

run "half_a_day_of_expiry" {
  command = plan

  variables {
    expire_after_days = 730.5
  }

  expect_failures = [var.expire_after_days]
}

run "archive_at_once" {
  command = plan

  variables {
    archive_after_days = 0
  }

  expect_failures = [var.archive_after_days]
}

run "no_days_after_expiry" {
  command = plan

  variables {
    noncurrent_expire_after_days = 0
  }

  expect_failures = [var.noncurrent_expire_after_days]
}

run "bucket_with_dots" {
  command = plan

  variables {
    bucket = "acme.audit"
  }

  expect_failures = [var.bucket]
}

run "bucket_in_capitals" {
  command = plan

  variables {
    bucket = "Acme-audit"
  }

  expect_failures = [var.bucket]
}

run "bucket_too_short" {
  command = plan

  variables {
    bucket = "ab"
  }

  expect_failures = [var.bucket]
}

run "bucket_too_long" {
  command = plan

  variables {
    bucket = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
  }

  expect_failures = [var.bucket]
}

run "nobody_writes" {
  command = plan

  variables {
    writer = {}
  }

  expect_failures = [var.writer]
}

run "account_writes" {
  command = plan

  variables {
    writer = { role_arns = ["arn:aws:iam::111122223333:root"] }
  }

  expect_failures = [var.writer]
}

run "any_role_writes" {
  command = plan

  variables {
    writer = { role_arns = ["arn:aws:iam::111122223333:role/*"] }
  }

  expect_failures = [var.writer]
}

run "everybody_writes" {
  command = plan

  variables {
    writer = { role_arns = ["*"] }
  }

  expect_failures = [var.writer]
}

run "any_workload_writes" {
  command = plan

  variables {
    writer = { oidc = { provider_arn = "arn:aws:iam::111122223333:oidc-provider/issuer.example.com", subjects = ["system:serviceaccount:*:sallyport"] } }
  }

  expect_failures = [var.writer]
}

run "no_workload_writes" {
  command = plan

  variables {
    writer = { oidc = { provider_arn = "arn:aws:iam::111122223333:oidc-provider/issuer.example.com", subjects = [] } }
  }

  expect_failures = [var.writer]
}

run "any_audience" {
  command = plan

  variables {
    writer = { oidc = { provider_arn = "arn:aws:iam::111122223333:oidc-provider/issuer.example.com", subjects = ["sallyport"], audience = "*" } }
  }

  expect_failures = [var.writer]
}

run "no_provider" {
  command = plan

  variables {
    writer = { oidc = { provider_arn = "issuer.example.com", subjects = ["sallyport"] } }
  }

  expect_failures = [var.writer]
}

run "other_service_writes" {
  command = plan

  variables {
    writer = { services = ["lambda.amazonaws.com"] }
  }

  expect_failures = [var.writer]
}

run "account_reads" {
  command = plan

  variables {
    reader_role_arns = ["arn:aws:iam::111122223333:root"]
  }

  expect_failures = [var.reader_role_arns]
}

run "everybody_deletes" {
  command = plan

  variables {
    deletion_role_arns = ["*"]
  }

  expect_failures = [var.deletion_role_arns]
}

run "any_role_deletes" {
  command = plan

  variables {
    deletion_role_arns = ["arn:aws:iam::111122223333:role/*"]
  }

  expect_failures = [var.deletion_role_arns]
}

run "logs_into_itself" {
  command = plan

  variables {
    access_log_bucket = "acme-audit"
  }

  expect_failures = [var.access_log_bucket]
}
